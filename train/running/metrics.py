"""training.parquet: what is logged at every optimiser step, by TRL's names, and what each is exactly.

Here pi is the policy before the step, ref the reference, log p(y) a completion's natural log-probability given its
prompt, summed over the completion's tokens: those that the chat template writes after the prompt, the one that ends
the turn included, no more than train.max_completion. A step takes train.batch pairs in parts of train.device_batch;
unless said otherwise a number is the mean over a part's pairs in all processes, then the mean over the parts.

loss                   what is minimised, by train.loss, with train.offset and train.weight in it
rewards/chosen         beta * (log pi(y) - log ref(y)) of the chosen completion: a sum over its tokens, not a mean
rewards/rejected       the same of the rejected one
rewards/margins        rewards/chosen - rewards/rejected: the reward advantage; without offset and weight
rewards/accuracies     share of pairs with a reward of the chosen one that is strictly greater: 0 where all are equal,
                       as at the first step from the reference
logps/chosen, /rejected    log pi(y)
entropy                Shannon entropy, in nats, of pi's distribution of the next token over the whole vocabulary at
                       temperature 1, -sum p ln p: mean over the tokens of the part's completions, chosen and
                       rejected together, so that each token counts once and a long completion more than a short
                       one. Tokens of prompts and padding are not in it.
logits/chosen, /rejected   mean over the vocabulary of the logits from which a token was predicted, mean over tokens
mean_token_accuracy    share of the chosen completions' tokens that are pi's most probable one
num_tokens             tokens of prompts and completions, chosen and rejected, since training began; with several
                       processes TRL counts the last, incomplete batch of an epoch in part only
grad_norm              Euclidean norm of the gradient of all trained weights, before it is cut to 1
learning_rate, epoch   as the step was made; passes over the pairs after it

With a loss over lists ``batch`` counts lists, of which each stands as pairs (lists.py): loss is that of the lists, mean
over a part's; all else is of the pairs, among which the worst of a list of odd length is there twice.

train kto, where it differs. ``batch`` counts completions; chosen are the good ones, rejected the bad ones. A part has a
number only where it holds such completions, the margin where it holds both.
loss                   1 - sigmoid(rewards/chosen - beta * kl) of a good one times kto.desirable_weight, and
                       1 - sigmoid(beta * kl - rewards/rejected) of a bad one times kto.undesirable_weight
kl                     log pi(y) - log ref(y) of the part's prompts with each other's completions, mean; 0 if it is less

train sft, where it differs. ``batch`` counts rows.
loss                   -log pi of the completions' tokens: mean over all tokens of the step
entropy, mean_token_accuracy    of the completions' tokens, as above

train online, where it differs. Of a pair the completion of the higher judge's score is the chosen one.
rewards/..., logps/... over all pairs, in which one that is left out counts 0: divided by pairs/learned, the mean over
                       pairs that are learned from. Runs of different shares compare only after that
pairs/learned, /tied, /unratable   shares of the pairs: online_dpo.py says which are which
objective/scores       the judge's score, mean over the completions of pairs in which both are known
objective/scores_margin    the chosen one's score less the other's, mean over all pairs; 0 where one is not known
objective/kl, /entropy sums over positions of log pi - log ref, and of -log pi of the token that was drawn. TRL has the
                       padding after a completion's end in them, so that they grow with the batch's longest
                       completion: no measure of divergence or of the entropy above

train reward (RUN/reward/training.parquet). ``batch`` counts pairs or, with the loss listwise, lists of a prompt's
completions; the reward r is read at the token that ends the turn.
loss                   what is minimised, by reward.loss, and reward.aspect_weight * aspects/mse with it
accuracy               share of the pairs whose chosen completion has the higher r, of lists whose best has
margin                 r of the chosen one less r of the rejected one; in a list the means of best and others
mean_reward, min_reward, max_reward    of r over the part's completions; the extremes are means of the parts' extremes
aspects/mse            mean squared error of the aspects' heads, in standard units, over the numbers that are known
num_tokens             tokens of prompts and completions read since training began, a prompt once for each completion
grad_norm, learning_rate, epoch    as above; the thresholds' own learning rate is not told here

train grpo, where it differs. ``batch`` counts completions.
loss                   by TRL's grpo.loss; near 0 on fresh completions, whatever is learned: watch reward
reward, reward_std     mean and standard deviation of what is learned from; a completion without a reward is in neither
                       (rewards/wim/mean and /std are the same numbers: there is one reward function)
wim/readable, /verified    share of the completions with a rating; mean of the verifier where there is a reference
                       (reward_model/readable, and rewards/reward_model, where that gives the reward)
entropy                as above, but of the distribution at grpo.temperature, which is what it drew from but for top_p
kl                     estimate of the divergence from the reference, mean over tokens; only where grpo.beta is above 0
"""

from typing import Any

import polars as pl

from train.running.throughput import SECONDS


def table(history: list[dict[str, Any]]) -> pl.DataFrame:
    """From TRL's log, without its closing summary and without times: these would differ from run to run.

    A name stands in no row of a step for which TRL has no number (the mean over nothing).
    """
    rows = [
        (entry["step"], name, float(value))
        for entry in history
        if "loss" in entry
        for name, value in sorted(entry.items())
        if name not in ("step", "step_time", SECONDS) and value is not None
    ]
    return pl.DataFrame(rows, schema={"step": pl.Int32, "name": pl.String, "value": pl.Float64}, orient="row")
