"""Packed weights as bytes on disk: the folder, its codecs, its sizes."""
