"""Copy of weights from one defence to another."""

from tfdefense.defenses.core.defense import Defense
from tfdefense.errors import require


def copy_weights(source: Defense, target: Defense) -> None:
    """Set the weights of all networks of `target` to those of the same names in `source`.

    Raises:
      UserError: `source` has no such network, or one of other shapes.
    """
    sources = source.networks()
    for name, network in target.networks().items():
        values = sources[name].get_weights() if name in sources else []
        require(
            [value.shape for value in values]
            == [tuple(weight.shape) for weight in network.weights],
            f"--init_run: network {name} of that {source.name} differs from the one of this"
            f" {target.name}. Give the same --generator, --levels, --widths, --blocks and"
            " --thresholds.",
        )
        network.set_weights(values)
