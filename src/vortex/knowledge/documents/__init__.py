"""Files to blocks of text that know where they stand: text, Markdown, HTML, PDF, code, tables."""
