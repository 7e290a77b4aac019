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
on which the model abstains. Out of scope:

- anything outside the {count} categories: the model has no "other" class, so {outsider} gets one of the {count};
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
print(predictions.names, predictions.confidences, predictions.sure)
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
