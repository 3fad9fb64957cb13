import json

import numpy as np
import pytest
import torch

from hstasks.networks import build
from hstasks.networks.convnextv2 import SIZES, ConvNeXtV2, DropPath, infer


@pytest.fixture
def reference(shared):
    folder = shared / "reference" / "lenses"
    arrays = np.load(folder / "convnextv2_small.npz")
    facts = json.loads((folder / "convnextv2_small.json").read_text())
    return facts, {key: torch.tensor(arrays[key]) for key in arrays.files}


def test_the_network_is_that_of_the_reference_part_by_part(reference):
    facts, arrays = reference
    state = {key.removeprefix("state/"): value for key, value in arrays.items() if key.startswith("state/")}
    config = infer(state)
    assert config["depths"] == facts["config"]["depths"]
    assert config["dims"] == facts["config"]["dims"]
    network = ConvNeXtV2(**config).eval()
    network.load_state_dict(state)

    def same(ours, theirs):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)

    with torch.no_grad():
        x = arrays["input_41"]
        for stage in range(4):
            x = network.downsample_layers[stage](x)
            same(x, arrays[f"stem{stage}_41"])
            x = network.stages[stage](x)
            same(x, arrays[f"stage{stage}_41"])
        same(network.features(arrays["input_41"]), arrays["features_41"])
        same(network(arrays["input_41"]), arrays["output_41"])
        same(network(arrays["input_64"]), arrays["output_64"])
        same(network.stages[1][0](arrays["block_in"]), arrays["block_out"])
        same(network.stages[1][0].grn(arrays["grn_in"]), arrays["grn_out"])


def test_sizes_and_names_are_the_published_ones(reference):
    facts, _ = reference
    counts = facts["published_parameter_counts"]
    with torch.device("meta"):
        for size in SIZES:
            network = build(f"convnextv2_{size}", {}, 1, 1)
            assert sum(weight.numel() for weight in network.parameters()) == counts[size]
        five = build("convnextv2_nano", {}, 5, 1)
        assert sum(weight.numel() for weight in five.parameters()) == counts["nano_5ch"]
        atto = build("convnextv2_atto", {}, 1, 1)
    assert [[key, list(value.shape)] for key, value in atto.state_dict().items()] == facts["state_keys_atto"]


def test_drop_rates_rise_linearly(reference):
    facts, _ = reference
    config = {key: facts["config"][key] for key in ("depths", "dims", "drop_path_rate")}
    network = ConvNeXtV2(1, 1, **config)
    rates = [module.rate for module in network.modules() if isinstance(module, DropPath)]
    assert rates == pytest.approx(facts["drop_path_rates"], abs=1e-7)


@pytest.mark.parametrize(("stride", "size"), [(4, 10), (2, 20), (1, 41)])
def test_a_smaller_stride_of_the_stem_keeps_the_picture_larger(stride, size):
    network = build("convnextv2", {"depths": [1, 1, 1, 1], "dims": [8, 8, 8, 8], "stem_stride": stride}, 5, 2)
    seen = []
    network.stages[0].register_forward_hook(lambda module, given, output: seen.append(output.shape[-1]))
    assert network(torch.rand(2, 5, 41, 41)).shape == (2, 2)
    assert seen == [size]


def test_a_dropped_branch_is_dropped_whole_and_the_mean_stays():
    torch.manual_seed(0)
    layer = DropPath(0.25)
    out = layer.train()(torch.ones(4000, 2, 3))
    kept = out[:, 0, 0] > 0
    assert out.mean().item() == pytest.approx(1.0, abs=0.05)
    torch.testing.assert_close(out, torch.where(kept[:, None, None], 4 / 3, 0.0).expand_as(out))
    torch.testing.assert_close(layer.eval()(out), out)


def test_weights_of_another_network_are_not_taken_for_it():
    assert infer({"conv1.weight": torch.zeros(1)}) is None
