"""circuitkit: find circuits in transformers, and try hard to refute them.

    Task -> PromptPairs -> SubjectModel -> scores -> Circuit -> Verdict -> Report

Each arrow is one call below; each box is plain data. The guide is docs/guide.md.
"""
