"""Which credential one call carries."""
