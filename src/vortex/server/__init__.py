"""The OpenAI wire: HTTP in, a ChatBackend asked, OpenAI's shapes out. Never imports torch and knows no engine."""
