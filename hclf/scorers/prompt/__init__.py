"""A language model, on this machine or behind a server, asked level by level which nodes a document belongs to."""
