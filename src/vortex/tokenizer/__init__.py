"""Text to tokens and back, and conversations to tokens: `load_tokenizer` (house.py), `TemplateChatFormat` (chat_format.py).

Tokenizers of other people's models run on the `tokenizers` library. Nothing here knows a model's weights.
"""
