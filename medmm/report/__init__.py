"""Measured results for people and machines: one offline HTML page, Markdown, CSV, JUnit, and a model card's block."""

from medmm.report.page import render_comparison, render_report

__all__ = ["render_comparison", "render_report"]
