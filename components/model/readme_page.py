"""The words of a model's README; what is in braces is filled in by `components.model.readme`."""

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

Pictures of {subject}s, {size}, into {count} categories. This page was written when the model was stored, from what
was measured; `model.json` beside it has every figure, and `verdict.json`, where there is one, what the gate said of it.

## Model details

{details}
## Intended use

For keeping a catalogue of product photos in order: each new photo gets its category, and a person looks at those of
which the model is not sure. Its users are the people who run such a catalogue. Out of scope:

- anything that is none of the {count} categories: there is no answer for it, so {outsider} gets one of the {count};
- {unseen}, size, material or wearer: at {size}, nothing was learned of them;
- people: nothing about a person may be concluded from an answer.

## Factors

The classes are the only factor that the data names, and there are figures for each. Of camera, light, season, cut and
wearer it says nothing, so nothing was measured for them.

## Training and evaluation data

{data}
## Metrics

Accuracy, because every image has one label; log loss, Brier score and calibration error, because people act on the
probabilities. The model is sure of an answer above the threshold of its class, which was chosen on the held-out images
so that {target} of the sure answers in each class are right.

## Quantitative analysis

{figures}
{classes}
## Ethical considerations and limits

On the test split it is worst at {worst}. It confuses most:

{confused}
It is wrong on {wrong} of the test images, and on {wrong_though_sure} of those it is sure of. How it does on photos with
other light, background or framing was not measured here. The images are of {subject}s and name no person.

## How to load it

```python
import fashion

model = fashion.load_model("{exact}")  # every byte is checked against its hash
predictions = fashion.predict(model, images)  # {images}
print(predictions.names, predictions.confidences, predictions.sure)
```

`fashion promote {exact}` puts it live if the gate lets it.

## Reproduction

The same recipe, seed, data, packages and machine give the same weights to the bit.

{origin}
Every field of the recipe, for `fashion train --set FIELD=VALUE`:

```json
{training}
```
"""
