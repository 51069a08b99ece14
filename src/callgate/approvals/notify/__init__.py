"""How people learn that somebody waits for them: webhooks, and Slack.  No message ever holds a call's arguments."""
