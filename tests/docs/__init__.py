"""What the documentation says is tried out: commands, options, links, the tour."""
