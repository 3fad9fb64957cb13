import json

import numpy as np
import pytest
import torch

from hsengine.base.errors import UserError
from hstasks.networks.fusion import KINDS, MLPFusion, PerceiverFusion, build


@pytest.mark.parametrize("kind", KINDS)
def test_a_fusion_is_that_of_the_reference(shared, kind):
    arrays = np.load(shared / "reference" / "biomass" / f"{kind}_fusion.npz")
    config = json.loads(str(arrays["config"]))
    fusion = build(config).eval()
    assert type(fusion) is KINDS[kind]
    fusion.load_state_dict(
        {key.removeprefix("state/"): torch.tensor(arrays[key]) for key in arrays.files if key.startswith("state/")}
    )
    with torch.no_grad():
        mean, log_var = fusion(torch.tensor(arrays["image_features"]), torch.tensor(arrays["metadata"]))
    np.testing.assert_allclose(mean, arrays["mean"], atol=1e-5)
    np.testing.assert_allclose(log_var, arrays["log_var"], atol=1e-5)


@pytest.mark.parametrize("kind", [MLPFusion, PerceiverFusion])
def test_the_defaults_train_every_part(kind):
    fusion = kind(feature_dim=6, metadata_dim=3, num_outputs=5)
    mean, log_var = fusion(torch.rand(4, 6), torch.rand(4, 3))
    assert mean.shape == log_var.shape == (4, 5)
    (mean.sum() + log_var.sum()).backward()
    assert all(weight.grad is not None for weight in fusion.parameters())


def test_heads_that_do_not_divide_the_width_are_refused_with_those_that_do():
    with pytest.raises(UserError, match=r"6 heads do not divide the perceiver's width of 512.* 4, 8"):
        PerceiverFusion(10, 7, 5, num_heads=6)


def test_a_configuration_that_cannot_be_built_is_named():
    with pytest.raises(UserError, match=r"no fusion 'perceivr' \(close: perceiver\)"):
        build({"kind": "perceivr"})
    with pytest.raises(UserError, match="latents"):
        build({"kind": "mlp", "feature_dim": 1, "metadata_dim": 1, "num_outputs": 1, "latents": 3})
