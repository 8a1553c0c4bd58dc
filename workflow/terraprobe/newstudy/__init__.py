"""`terraprobe new-study`: a study file for an area, dates and labels, with every choice said in it."""
