"""Text to tokens and back, and conversations to tokens.

`load_tokenizer` (house.py) reads a model folder, `tokenizer_files_from_gguf` (gguf.py) a GGUF file's metadata,
`TemplateChatFormat` (chat_format.py) writes conversations. Tokenizers of other people's models run on the `tokenizers`
library. Nothing here knows a model's weights.
"""
