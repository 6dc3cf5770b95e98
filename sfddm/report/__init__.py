"""The comparison as people read it: a table on the terminal, a page and a picture in `reports/`."""
