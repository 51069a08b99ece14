"""What may go in, and what may come out: personal data, destructive statements, payload shapes, text that lies.

Pure, and shut when it fails: whatever cannot be told counts as the worst that it may be.
"""
