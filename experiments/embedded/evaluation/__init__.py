"""The embedded encoder's examination, in the order it runs:

metrics.py    AUC, Spearman, bootstrap intervals: pure functions
drawn.py      a world's states, their facts, their embeddings by view
goals.py      each goal against other states; unseen views; graded paths from start to goal
words.py      compositions, paraphrases and poses that training never met
controls.py   frames and words that must earn nothing
tables.py     targets, met or missed; Markdown
pictures.py   the worst-ranked states as a sheet of pictures
"""
