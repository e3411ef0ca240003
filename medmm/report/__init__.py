"""Measured results as one offline HTML page that is read from the top: verdict first, evidence below."""

from medmm.report.page import render_report

__all__ = ["render_report"]
