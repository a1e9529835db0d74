"""The engine for many rows: vLLM, offline and in this process, for one base model and its adapters.

Requests are fed to the running engine as others finish, so that the batch stays full. A row's sample follows
its own seed; how far it may still depend on its batch is a matter of dtype: the sums of a larger batch are
rounded elsewhere, which flips a token where two are about equally likely. With float32 that is rare.

With tensor or pipeline parallelism vLLM starts a process per device. They end with this one, even after kill -9:
each watches a pipe that this process holds open.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from builder.engines import Completion, Request, Sampling, _vllm_arguments, _vllm_check
from builder.errors import EngineError
from builder.language import chat, models
from builder.language.policy import Policy
from builder.params import Params
from builder.statuses import Reason

IN_FLIGHT = 4
"""Requests given to vLLM, as a multiple of those that it runs at a time: enough that none of its places is empty."""

identity = _vllm_arguments.identity


class Engine:
    """One base model in memory; each request names its adapter."""

    def __init__(self, params: Params, policies: Sequence[Policy]) -> None:
        (model, revision), *others = dict.fromkeys((policy.model, policy.revision) for policy in policies)
        if others:
            raise EngineError(f"one engine serves one base model: {model}, not also {others[0][0]}")
        adapters = list(dict.fromkeys(policy.adapter for policy in policies if policy.adapter))
        _vllm_arguments.set_environment()
        arguments = _vllm_arguments.arguments(params.engine.vllm, model, revision, adapters)
        self.tokenizer = models.tokenizer(model, revision, arguments["trust_remote_code"])
        self.core: Any = _started(model, arguments)
        self.context = _context(self.core.vllm_config.model_config, params)
        self.room: int = IN_FLIGHT * self.core.vllm_config.scheduler_config.max_num_seqs
        self.numbers = itertools.count()
        self.fault: str | None = None
        self.adapters = {adapter: self._adapter(i, adapter) for i, adapter in enumerate(adapters, 1)}
        if self.adapters and any(policy.adapter is None for policy in policies):
            self._guarded(_vllm_check.check, self.core, self.tokenizer, list(self.adapters.values()))

    def _adapter(self, number: int, folder: Any) -> Any:
        from vllm.lora.request import LoRARequest

        adapter = LoRARequest(f"adapter{number}", number, str(folder))
        try:
            self.core.add_lora(adapter)
        except Exception as error:
            raise EngineError(f"adapter {folder}: vLLM cannot load it: {_line(error)}") from error
        return adapter

    def generate(self, requests: Iterable[Request]) -> Iterator[tuple[int, Completion]]:
        if self.fault:
            raise EngineError(self.fault)
        waiting = enumerate(requests)
        under_way: dict[str, tuple[int, Request]] = {}
        try:
            while True:
                for place, request in itertools.islice(waiting, self.room - len(under_way)):
                    ids = chat.encode(self.tokenizer, request.messages)
                    if len(ids) + request.sampling.max_tokens > self.context:
                        yield place, Completion("", "length", 0, Reason.TOO_LONG)
                    else:
                        under_way[self._add(ids, request)] = place, request
                if not under_way:
                    return
                for output in self._guarded(self.core.step):
                    place, request = under_way.pop(output.request_id)
                    yield place, self._completion(output, request.sampling)
        finally:
            if not self.fault:  # whoever stops taking answers stops what is under way
                self.core.abort_request(list(under_way))

    def close(self) -> None:
        self.core.engine_core.shutdown()

    def _add(self, ids: list[int], request: Request) -> str:
        """Hand a request to vLLM under a new name."""
        name = str(next(self.numbers))
        adapter = self.adapters[request.policy.adapter] if request.policy.adapter else None
        how = self._guarded(_how, request)
        self._guarded(self.core.add_request, name, {"prompt_token_ids": ids}, how, lora_request=adapter)
        return name

    def _guarded(self, call: Any, *arguments: Any, **named: Any) -> Any:
        """A call into vLLM. What is no refusal of the request leaves an engine that would hang when called again."""
        from vllm.exceptions import VLLMValidationError

        try:
            return call(*arguments, **named)
        except EngineError:
            raise
        except VLLMValidationError as error:
            raise EngineError(f"vLLM refuses a request: {_line(error)}") from error
        except BaseException as error:
            self.fault = (
                f"vLLM stopped ({type(error).__name__}: {_line(error)}); rows that are done are kept, run the same "
                "command again; if memory ran out, lower engine.vllm.gpu_memory_utilization or engine.vllm.max_num_seqs"
            )
            if not isinstance(error, Exception):
                raise
            raise EngineError(self.fault) from error

    def _completion(self, output: Any, sampling: Sampling) -> Completion:
        """The text as the tokenizer decodes it whole; vLLM's own is decoded token by token after the prompt."""
        (answer,) = output.outputs
        tokens, finish = list(answer.token_ids), answer.finish_reason
        if finish not in ("stop", "length"):
            raise EngineError(f"vLLM ended a request with {finish!r}")
        if finish == "stop" and not isinstance(answer.stop_reason, str):
            tokens.pop()  # the token that ends the turn
        text = self.tokenizer.decode(tokens, skip_special_tokens=True)
        for stop in sampling.stop:
            text = text.split(stop)[0]
        return Completion(text, finish, len(tokens), prompt_tokens=len(output.prompt_token_ids))


def _started(model: str, arguments: dict[str, Any]) -> Any:
    """The running engine. Raises EngineError, in one line, for whatever keeps it from starting."""
    from vllm import EngineArgs, LLMEngine
    from vllm.usage.usage_lib import UsageContext

    try:
        return LLMEngine.from_engine_args(EngineArgs(**arguments), UsageContext.LLM_CLASS)
    except Exception as error:
        raise EngineError(f"model {model}: vLLM cannot start: {_line(error)}") from error


def _context(config: Any, params: Params) -> int:
    """Tokens of prompt and text together. Memory must not decide it unseen: what is too long would be kept so."""
    fitted, own = int(config.max_model_len), getattr(config.hf_text_config, "max_position_embeddings", None)
    if "max_model_len" not in params.engine.vllm and own and fitted < own:
        raise EngineError(
            f"the memory for keys and values holds {fitted:,} tokens of the model's {own:,}: give it more "
            f"(engine.vllm.kv_cache_memory_bytes), or set engine.vllm.max_model_len, to {fitted} say"
        )
    return fitted


def _how(request: Request) -> Any:
    """The request's sampling in vLLM's terms; nothing comes from the model's generation_config but its ends."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

    sampling = request.sampling
    if sampling.contrastive is not None:
        raise EngineError("the engine vllm has no contrastive search; set judge.contrastive to null")
    return SamplingParams(
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        max_tokens=sampling.max_tokens,
        seed=request.seed if sampling.temperature > 0 else None,
        stop=list(sampling.stop),
        detokenize=bool(sampling.stop),
        output_kind=RequestOutputKind.FINAL_ONLY,
        structured_outputs=StructuredOutputsParams(regex=sampling.pattern) if sampling.pattern else None,
    )


def _line(error: BaseException) -> str:
    """What an error of vLLM says, in one line; of several complaints about settings, the first."""
    errors = getattr(error, "errors", None)
    if callable(errors):  # pydantic's
        first = errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return " ".join(str(error).split())[:500] or type(error).__name__
