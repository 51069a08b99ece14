"""Who must agree to a call: what is asked of people, where they answer, and where that is kept."""
