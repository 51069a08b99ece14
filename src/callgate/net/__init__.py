"""Sockets, TLS and trio."""
