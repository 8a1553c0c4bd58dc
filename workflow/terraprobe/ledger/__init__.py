"""The claim ledger: every published number and worded claim of a paper beside ours."""
