"""How people prove to the approvals page who they are: OpenID Connect, and one-time links for users of this machine."""
