"""The comparison as people read it: one page, the same as Markdown, and a table on the terminal."""
