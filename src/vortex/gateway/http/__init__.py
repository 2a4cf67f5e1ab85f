"""The gateway's own wire: connections of clients and engines, and event streams between them."""
