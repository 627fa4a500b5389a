"""The logical graph and its plan. The nodes themselves stand beside their operators."""

from streamlib.graph.explain import explain
from streamlib.graph.node import BuildContext, LostKeys, Node, SideNode, SinkNode, SourceNode
from streamlib.graph.plan import Edge, Plan, Step, is_endless, plan_graph

__all__ = [
    "BuildContext",
    "Edge",
    "LostKeys",
    "Node",
    "Plan",
    "SideNode",
    "SinkNode",
    "SourceNode",
    "Step",
    "explain",
    "is_endless",
    "plan_graph",
]
