"""Privacy: what identifies a patient in a DICOM header or a note, found and removed.

DICOM follows the Basic Profile of PS3.15 (table E.1-1 in profile.csv) and goes beyond it where the
table is silent: free text it does not name is removed too. Import from the noun: `deid.dataset`
removes, `deid.findings` only looks, `deid.note` does both for text.
"""
