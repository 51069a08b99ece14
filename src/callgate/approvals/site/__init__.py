"""Where people decide: pages for browsers, and the API that they and the command line use."""
