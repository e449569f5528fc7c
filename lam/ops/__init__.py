"""Pure functions without parameters: image numbers, code statistics, closed-form probes."""
