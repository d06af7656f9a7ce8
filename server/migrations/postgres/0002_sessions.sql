-- Holds this number until the step is written.
SELECT 1;
