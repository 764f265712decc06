"""Reading datasets: sources, corpora, judgements, questions."""
