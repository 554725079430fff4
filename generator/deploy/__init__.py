"""Plans, their journal, the transaction that carries them out, and the judgement afterwards."""
