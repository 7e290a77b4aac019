"""Templates of a model's README; `components.model.readme` fills in the placeholders."""

FRONT_MATTER = """---
license: {license}
pipeline_tag: image-classification
tags:
- image-classification
- fashion
- mlp
- pytorch
- safetensors
datasets:
- {hub_name}
metrics:
- accuracy
- f1
- brier_score
model-index:
- name: {tag}
  results:
  - task:
      type: image-classification
      name: Image classification
    dataset:
      type: {hub_name}
      name: {source}
      split: test
      revision: {revision}
    metrics:
{metrics}---
"""

PAGE = """# {tag}

Classifies pictures of {subject}s, {size}, into {count} categories. This page was generated when the model was stored.
`model.json` has every figure; `verdict.json`, if present, has the verdict of the evaluation gate.

## Model details

{details}
## Intended use

Categorizing product photos for the operators of a catalogue: each new photo gets a category, and a person reviews those
on which the model abstains{reviewed}. Out of scope:

- anything outside the {count} categories: {outside};
- {unseen}, size, material or wearer: at {size}, the model has learned nothing about them;
- people: a prediction says nothing about a person.

## Factors

The class is the only factor that the data labels; each class has its own figures. The data does not record camera,
light, season, cut or wearer, so they were not evaluated.

## Training and evaluation data

{data}
## Metrics

Accuracy, because every image has one label; log loss, Brier score and calibration error, because people act on the
probabilities. The model abstains when the confidence is not above the threshold of the predicted class. Each threshold
was chosen on the held-out images so that {target} of the predictions above it are correct.

## Quantitative analysis

{figures}
{classes}
## Unknown inputs

{unknown}
## Ethical considerations and limits

Lowest F1 on the test split: {worst}. Most frequent confusions:

{confused}
Error rate on the test images: {error_rate}; of the predictions above the threshold: {error_rate_above_threshold}.
Performance under other light, background or framing was not measured here. The images show {subject}s and identify no
person.

## How to load it

```python
import fashion

model = fashion.load_model("{exact}")  # verifies every file against its hash
predictions = fashion.{call}
print(predictions.names, predictions.confidences, predictions.sure, predictions.known)
```

`fashion promote {exact}` makes it the live model if it passes the evaluation gate.

## Reproduction

The same preset, seed, data, packages and machine give bit-identical weights.

{origin}
Every training setting, for `fashion train --set FIELD=VALUE`:

```json
{training}
```
"""

UNKNOWN = """`known` is false for an image that is farther from the training images than {share} of the validation
images are. Such an image still gets the likeliest of the {count} classes, which need not be a possible one.
`familiarity` is the share of the validation images that are farther away.

{figures}
The stated share holds on average, and only for images like the validation images. Photos from another camera or with
another background count as unknown more often. How many images of other things are found depends on how different they
are, and was not measured here.
"""

NOT_DETECTED = """This model cannot tell images that are unlike its training images: `known` and `familiarity` are null.
"""
