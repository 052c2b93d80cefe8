"""Records in place of running text: questions with their answers, of which the answers alone are learnt and scored."""
