"""Credentials that change: tokens that are obtained, kept and renewed.

:class:`~deploycore.credentials.keeper.TokenKeeper` keeps one token of one provider.
"""
