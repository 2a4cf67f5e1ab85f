"""What a candidate is trained on: rows with where they came from, filtered, without doubles, in several phrasings."""
