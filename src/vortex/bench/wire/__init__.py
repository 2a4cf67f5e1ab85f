"""Measurements over HTTP: the server, the gateway, structured answers, and what others put in between."""
