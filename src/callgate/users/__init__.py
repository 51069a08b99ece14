"""On whose behalf: users' access tokens, verified against the issuers that the configuration names."""
