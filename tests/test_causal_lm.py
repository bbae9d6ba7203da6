"""The family of language models on tiny random weights of the real architectures."""

import dataclasses
import json
import shutil
import sys
import threading
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    LlamaConfig,
    OPTConfig,
    PhiConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
)

from narrator.families.causal_lm import CausalLM, load_model, names_of, padding, prompt_ids
from narrator.records import Inputs, NarratorError, Variant
from narrator.settings import GenerationSettings

TEXTS = ["A brown dog runs over the grass.", "Two people sit on a bench by the sea.", "Describe this image: a cat",
         "What do you see in this picture: a red bus"]
PROMPTS = ["Describe this image: a cat", "a red bus", "What do you see in this picture: two people on a bench"]
COMMON = {"vocab_size": 320, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "bos_token_id": 1,
          "eos_token_id": 2, "pad_token_id": 0, "initializer_range": 0.5, "max_position_embeddings": 96}
CONFIGS = {
    "gpt2": GPT2Config(vocab_size=320, n_embd=32, n_layer=2, n_head=2, n_positions=96, bos_token_id=1, eos_token_id=2,
                       pad_token_id=0, initializer_range=0.5),
    "opt": OPTConfig(**{**COMMON, "ffn_dim": 64, "word_embed_proj_dim": 32, "init_std": 0.5}),
    "qwen2": Qwen2Config(**COMMON, intermediate_size=64, num_key_value_heads=1),
    "llama": LlamaConfig(**COMMON, intermediate_size=64, num_key_value_heads=1),
    "phi": PhiConfig(**COMMON, intermediate_size=64, partial_rotary_factor=0.5),
}
CHAT = "{% for message in messages %}<s>{{ message['role'] }}: {{ message['content'] }}</s>{% endfor %}answer:"
GREEDY = GenerationSettings(num_beams=1, max_new_tokens=8, no_repeat_ngram_size=0)


def tiny_tokenizer(**settings) -> PreTrainedTokenizerFast:
    plain = Tokenizer(models.BPE())
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    plain.decoder = decoders.ByteLevel()
    plain.train_from_iterator(TEXTS, trainers.BpeTrainer(
        vocab_size=320, special_tokens=["<pad>", "<s>", "</s>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    return PreTrainedTokenizerFast(tokenizer_object=plain, **{"pad_token": "<pad>", "bos_token": "<s>",
                                                              "eos_token": "</s>", **settings})


def variant_of(folder: Path, **changes) -> Variant:
    return Variant(**{"id": "tiny", "title": "Tiny", "family": "causal_lm", "source": str(folder),
                      "inputs": Inputs(image=False, text=True), **changes})


def said(pieces) -> str:
    return "".join(piece.text for piece in pieces)


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    """A folder for each architecture, as `save_pretrained` leaves it."""
    home, tokenizer = tmp_path_factory.mktemp("models"), tiny_tokenizer()
    for name, config in CONFIGS.items():
        torch.manual_seed(3)
        AutoModelForCausalLM.from_config(config).save_pretrained(home / f"tiny-{name}")
        tokenizer.save_pretrained(home / f"tiny-{name}")
    return {name: home / f"tiny-{name}" for name in CONFIGS}


@pytest.fixture(scope="module")
def adapter(folders, tmp_path_factory) -> Path:
    """An adapter of tiny-llama that changes it a lot."""
    folder = tmp_path_factory.mktemp("adapters") / "loud"
    save_adapter(folders["llama"], folder, "somewhere/tiny-llama")
    return folder


def save_adapter(base: Path, folder: Path, told: str) -> None:
    torch.manual_seed(5)
    model = get_peft_model(load_model(base, "cpu"), LoraConfig(
        r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False, task_type="CAUSAL_LM"))
    model.peft_config["default"].base_model_name_or_path = told
    model.save_pretrained(folder, save_embedding_layers=False)


@pytest.mark.parametrize("name", CONFIGS)
def test_every_architecture_streams_stops_and_batches(folders, name) -> None:
    family = CausalLM(variant_of(folders[name]), "cpu")
    alone = [list(family.stream(None, prompt, GREEDY)) for prompt in PROMPTS]
    assert any(said(pieces) for pieces in alone)
    assert all(0 < piece.probability <= 1 for pieces in alone for piece in pieces if piece.probability is not None)

    together = family.batch([None] * 3, PROMPTS, GREEDY)
    assert [said(pieces) for pieces in together] == [said(pieces) for pieces in alone]
    beams = dataclasses.replace(GREEDY, num_beams=2)
    one_by_one = [said(family.stream(None, prompt, beams)) for prompt in PROMPTS]
    assert [said(pieces) for pieces in family.batch([None] * 3, PROMPTS, beams)] == one_by_one

    calls: list[int] = []
    gate = threading.Event()

    def count(*_) -> None:
        calls.append(1)
        assert len(calls) < 4 or gate.wait(60)  # the fourth step lasts until the reader has left

    hook = family.model.register_forward_hook(count)
    stream = family.stream(None, PROMPTS[0], dataclasses.replace(GREEDY, max_new_tokens=60))
    next(stream)
    opener = threading.Timer(0.2, gate.set)
    opener.start()
    stream.close()  # type: ignore[attr-defined]
    hook.remove()
    opener.join()
    assert len(calls) <= 4, "closing the iterator did not end the generation"
    assert not [thread for thread in threading.enumerate() if thread.name == "generate"]
    family.close()
    assert not hasattr(family, "model")


def test_the_words_are_those_of_generate(folders) -> None:
    family = CausalLM(variant_of(folders["gpt2"]), "cpu")
    ids = torch.tensor([family.tokenizer(PROMPTS[0])["input_ids"]])
    plain = family.model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=8, do_sample=False,
                                  suppress_tokens=[0, 1])[0, ids.shape[1]:]
    assert said(family.stream(None, PROMPTS[0], GREEDY)) == family.text(plain.tolist())


def test_sampling_in_a_batch_says_what_each_says_alone(folders) -> None:
    family = CausalLM(variant_of(folders["opt"]), "cpu")
    sampled = dataclasses.replace(GREEDY, temperature=1.5, seed=4)
    alone = [said(family.stream(None, prompt, sampled)) for prompt in PROMPTS]
    assert [said(pieces) for pieces in family.batch([None] * 3, PROMPTS, sampled)] == alone
    assert alone != [said(family.stream(None, prompt, dataclasses.replace(sampled, seed=5))) for prompt in PROMPTS]


def test_near_the_end_of_the_context_a_batch_still_says_the_same(folders) -> None:
    family = CausalLM(variant_of(folders["gpt2"]), "cpu")
    prompts = ["a cat", "red bus " * 10]
    lengths = [len(prompt_ids(family.tokenizer, prompt)) for prompt in prompts]
    assert lengths[1] < 96 < lengths[1] + 90  # the long one is cut short by the context, the short one is not
    longer = dataclasses.replace(GREEDY, max_new_tokens=90)
    together = family.batch([None, None], prompts, longer)
    assert [said(pieces) for pieces in together] == [said(family.stream(None, prompt, longer)) for prompt in prompts]
    assert sum(piece.tokens for piece in together[1]) <= 96 - lengths[1]
    with pytest.raises(NarratorError, match="shorten"):
        list(family.stream(None, "red bus " * 200, GREEDY))


def test_a_chat_template_is_used_where_there_is_one() -> None:
    plain, chat = tiny_tokenizer(), tiny_tokenizer(chat_template=CHAT)
    assert plain.decode(prompt_ids(plain, " a cat ")) == "a cat"
    ids = prompt_ids(chat, "a cat")
    assert chat.decode(ids) == "<s>user: a cat</s>answer:"
    assert ids[0] == 1 and ids.count(2) == 1
    for tokenizer, ends in ((plain, 0), (chat, 1)):  # what a person types ends nothing
        assert prompt_ids(tokenizer, "a </s> cat").count(2) == ends
    with pytest.raises(NarratorError, match="prompt"):
        prompt_ids(chat, "  ")


def test_without_a_padding_token_the_end_pads_and_the_mask_tells(folders, tmp_path) -> None:
    shutil.copytree(folders["qwen2"], tmp_path / "bare")
    tiny_tokenizer(pad_token=None).save_pretrained(tmp_path / "bare")
    family = CausalLM(variant_of(tmp_path / "bare"), "cpu")
    assert family.tokenizer.pad_token_id is None and padding(family.tokenizer) == 2
    inputs = family._inputs([[5, 6, 7], [8]])
    assert inputs["input_ids"].tolist() == [[5, 6, 7], [2, 2, 8]]
    assert inputs["attention_mask"].tolist() == [[1, 1, 1], [0, 0, 1]]
    alone = [said(family.stream(None, prompt, GREEDY)) for prompt in PROMPTS]
    assert [said(pieces) for pieces in family.batch([None] * 3, PROMPTS, GREEDY)] == alone


def test_an_adapter_changes_the_answer(folders, adapter) -> None:
    plain = CausalLM(variant_of(folders["llama"]), "cpu")
    changed = CausalLM(variant_of(folders["llama"], adapter=str(adapter)), "cpu")
    answers = [[said(family.stream(None, prompt, GREEDY)) for prompt in PROMPTS] for family in (plain, changed)]
    assert answers[0] != answers[1]
    assert [said(pieces) for pieces in changed.batch([None] * 3, PROMPTS, GREEDY)] == answers[1]


def test_an_adapter_of_another_base_is_refused_with_both_names(folders, adapter, tmp_path) -> None:
    with pytest.raises(NarratorError, match=r"loud does not belong on tiny-qwen2.*trained on tiny-llama"):
        CausalLM(variant_of(folders["qwen2"], adapter=str(adapter)), "cpu")
    liar = tmp_path / "liar"  # the name fits, the layers do not
    save_adapter(folders["llama"], liar, "tiny-gpt2")
    with pytest.raises(NarratorError, match=r"liar does not belong on tiny-gpt2: the layers"):
        CausalLM(variant_of(folders["gpt2"], adapter=str(liar)), "cpu")
    save_adapter(folders["llama"], tmp_path / "wide", "tiny-opt")
    with pytest.raises(NarratorError, match=r"wide does not belong on tiny-opt.*fits no layer"):
        CausalLM(variant_of(folders["opt"], adapter=str(tmp_path / "wide")), "cpu")


def test_a_name_in_the_download_cache_is_the_hubs(tmp_path) -> None:
    folder = tmp_path / "models--facebook--opt-2.7b" / "snapshots" / "0a1b2c"
    folder.mkdir(parents=True)
    assert names_of(folder) == ["opt-2.7b"]
    (folder / "config.json").write_text(json.dumps({"_name_or_path": "other/name"}))
    assert names_of(folder) == ["opt-2.7b", "name"]


def test_quantised_weights_need_bitsandbytes(folders, tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)  # as if it were not installed
    for dtype in ("int8", "nf4"):
        with pytest.raises(NarratorError, match="pip install bitsandbytes"):
            CausalLM(variant_of(folders["opt"], dtype=dtype), "cpu")
    shutil.copytree(folders["gpt2"], tmp_path / "quantised")
    config = json.loads((tmp_path / "quantised" / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    (tmp_path / "quantised" / "config.json").write_text(json.dumps(config))
    with pytest.raises(NarratorError, match="pip install bitsandbytes"):
        CausalLM(variant_of(tmp_path / "quantised"), "cpu")


def test_missing_tensors_and_code_of_strangers_are_refused(folders, tmp_path) -> None:
    from safetensors.torch import load_file, save_file

    shutil.copytree(folders["llama"], tmp_path / "holed")
    weights = load_file(tmp_path / "holed" / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, tmp_path / "holed" / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=r"lacks 1 tensors, such as model\.layers\.1\.mlp\.up_proj\.weight"):
        CausalLM(variant_of(tmp_path / "holed"), "cpu")

    shutil.copytree(folders["llama"], tmp_path / "strange")
    config = {**json.loads((folders["llama"] / "config.json").read_text()), "model_type": "strange",
              "auto_map": {"AutoConfig": "code.Config", "AutoModelForCausalLM": "code.Model"}}
    (tmp_path / "strange" / "config.json").write_text(json.dumps(config))
    (tmp_path / "strange" / "code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(ValueError, match="trust_remote_code"):
        CausalLM(variant_of(tmp_path / "strange"), "cpu")
    assert not (tmp_path / "ran").exists()
