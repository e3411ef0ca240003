"""How to measure: task, run, store, score, results. Scoring never imports torch.

cohort or task --run--> run store --score--> metrics.json --> report
anybody's predictions file -----------^
"""
