"""From bytes somebody handed over to a `Study`: DICOM, NIfTI, pictures, zips, PACS, cohort tables, phantoms.

Importing this package loads nothing: a process that only decodes pixels needs none of it.
"""
