"""Studies from a PACS, over DICOMweb or DIMSE. Import from the noun: `pacs.pull`, `pacs.dicomweb`, `pacs.dimse`."""
