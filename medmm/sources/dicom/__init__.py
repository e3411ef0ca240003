"""DICOM series to volumes. Importing this package loads nothing: a process that only decodes pixels needs none of it."""
