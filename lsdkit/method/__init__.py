"""The paper's method (section 2), and nothing else. In the order of reading:

mixing      2.1  Mix-up: lambda, the partner j, and the virtual face x~ with its label y~
views       2.2  data augmentation: the emotion view, and the appearance view, whose landmarks stay true
backbones   2.2  the networks that branches begin with; `backbone_for` says which. `gradients` is one of ours that takes
                 more than a few lines, and not the paper's
attention   2.2  DAN's attention parts: MAN (cross-attention heads) and AFN (their fusion)
network     2.2  figure 1a: emotion branch, appearance branch, shared layers, two outputs
losses      2    L_CCE of virtual faces, L_Ma, L_af, L_pt, L_Ap: each a function of tensors
objective   2.2  L_Em with either mixing, L_Total, and one training step's loss
bagging     2.2  figure 1b: the bags of the weak members, and the soft vote
metrics     3    the challenge's macro F1, and the bootstrap that its intervals come from
"""
