"""Do action tokens mean the same motion everywhere? `python -m analysis.tokens`, see __main__.

An analysis is a module of this package with `run(records, options) -> Result`, a pure function of
`analysis.tokens.records.Records` and `Options`. Here stands the list of them, in order.
"""
