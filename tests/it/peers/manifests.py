"""Checks deploy/kubernetes (the folder given): every object by Kubernetes's own schema, and that what one names is there in
the other. Prints what is wrong."""

import re
import sys
from pathlib import Path

import kubernetes_validate
import yaml

VERSION = "1.34"
HTTP = 4567
HARD = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}

folder = Path(sys.argv[1])


def say(*words):
    print(*words, sep=": ")


class Once(yaml.SafeLoader):
    """YAML in which a key that is there twice is a mistake."""


def mapping(loader, node):
    keys = [loader.construct_object(key) for key, _ in node.value if key.value != "<<"]
    for key in keys:
        if keys.count(key) > 1:
            say(Path(node.start_mark.name).name, f"{key} is there twice")
    loader.flatten_mapping(node)
    return dict(
        (loader.construct_object(key, deep=True), loader.construct_object(value, deep=True)) for key, value in node.value
    )


Once.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping)


def load(name):
    with open(folder / name, encoding="utf-8") as file:
        return yaml.load(file, Once)


kustomization = load("kustomization.yaml")
known = {"kustomization.yaml", *kustomization["resources"]}
maps = {}
for generator in kustomization["configMapGenerator"]:
    known.update(generator.get("envs", []) + generator.get("files", []))
    keys = set(generator.get("files", []))
    for path in generator.get("envs", []):
        lines = (folder / path).read_text(encoding="utf-8").splitlines()
        keys.update(line.split("=", 1)[0] for line in lines)
    maps[generator["name"]] = keys
for path in sorted(folder.iterdir()):
    if path.name not in known:
        say(path.name, "nobody names it")
pinned = {image["name"] for image in kustomization["images"] if image.get("newTag") or image.get("digest")}

objects = {}
for name in kustomization["resources"]:
    found = load(name)
    try:
        kubernetes_validate.validate(found, VERSION, strict=True)
    except kubernetes_validate.SchemaNotFoundError:
        say(name, f"Kubernetes {VERSION} has no {found['kind']} of {found['apiVersion']}")
    except kubernetes_validate.ValidationError as error:
        say(name, ".".join(str(part) for part in error.path), error.message)
    objects[found["kind"]] = found
if "Secret" in objects:
    say("a secret is made by hand, and not kept here")

deployment = objects["Deployment"]
pod = deployment["spec"]["template"]["spec"]
labels = deployment["spec"]["template"]["metadata"]["labels"]
containers = pod["containers"] + pod["initContainers"]
environment = dict(line.split("=", 1) for line in (folder / "config.env").read_text(encoding="utf-8").splitlines())


def selects(kind, selector):
    if not selector or any(labels.get(key) != value for key, value in selector.items()):
        say(kind, f"{selector} selects no pod with {labels}")


selects("Deployment", deployment["spec"]["selector"]["matchLabels"])
selects("Service", objects["Service"]["spec"]["selector"])
selects("PodDisruptionBudget", objects["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"])
selects("NetworkPolicy", objects["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"])

volumes = {volume["name"]: volume for volume in pod["volumes"]}
for volume in volumes.values():
    if "configMap" in volume and volume["configMap"]["name"] not in maps:
        say(volume["name"], f"there is no config map {volume['configMap']['name']}")


def check_variable(container, variable):
    source = variable.get("valueFrom", {})
    reference = source.get("configMapKeyRef")
    if reference and reference["key"] not in maps.get(reference["name"], ()):
        say(container, f"no config map has {reference}")
    if "secretKeyRef" in source and source["secretKeyRef"]["name"] != "cruddur":
        say(container, f"there is no secret {source['secretKeyRef']['name']}")
    if "value" in variable and re.search("KEY|TOKEN|SECRET|PASSWORD", variable["name"]):
        say(container, f"{variable['name']} should come from a secret")


for container in containers:
    name, image = container["name"], container["image"]
    if image not in pinned and not re.search(r":\d+\.\d+\.\d+$", image):
        say(name, f"its image is not pinned: {image}")
    if container.get("securityContext") != HARD:
        say(name, "it may do more than it has to")
    if "memory" not in container["resources"]["limits"]:
        say(name, "its memory has no limit")
    for reference in container.get("envFrom", []):
        if reference["configMapRef"]["name"] not in maps:
            say(name, f"there is no config map {reference['configMapRef']['name']}")
    for variable in container.get("env", []):
        check_variable(name, variable)
    for mount in container.get("volumeMounts", []):
        if mount["name"] not in volumes:
            say(name, f"there is no volume {mount['name']}")
for container in pod["initContainers"]:
    if container.get("restartPolicy") != "Always":
        say(container["name"], "a sidecar is restarted always")
    if "xray-daemon" in container["image"]:
        said = dict(zip(container["args"], container["args"][1:]))
        for option in ("--bind", "--bind-tcp"):
            if said.get(option) != "127.0.0.1:2000":
                say(container["name"], f"{option}: its image listens on every address unless it is told not to")

[service] = pod["containers"]
ports = {port["name"]: port["containerPort"] for port in service["ports"]}
if ports != {"http": HTTP}:
    say("cruddur", f"its ports are {ports}")
for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
    if service[probe]["httpGet"] != {"path": "/api/health-check", "port": "http"}:
        say("cruddur", f"the {probe} asks for {service[probe]['httpGet']}")
if [port["targetPort"] for port in objects["Service"]["spec"]["ports"]] != ["http"]:
    say("Service", "it leads to no port")
allowed = [port["port"] for rule in objects["NetworkPolicy"]["spec"]["ingress"] for port in rule["ports"]]
if allowed != [HTTP]:
    say("NetworkPolicy", f"it lets in {allowed}")
spool = [mount["mountPath"] for mount in service["volumeMounts"] if mount["name"] == "spool"]
if spool != [environment["SPOOL_DIR"]]:
    say("cruddur", f"the spool is at {environment['SPOOL_DIR']}, and its volume at {spool}")
grace = int(environment["SHUTDOWN_GRACE"].removesuffix("s")) + service["lifecycle"]["preStop"]["sleep"]["seconds"]
if pod["terminationGracePeriodSeconds"] < grace + 10:
    say("cruddur", f"it takes {grace} s to end, and its sidecars 10 s, but it has {pod['terminationGracePeriodSeconds']} s")
if not pod["securityContext"].get("runAsNonRoot") or pod["securityContext"]["seccompProfile"]["type"] != "RuntimeDefault":
    say("Deployment", "it may run as root, or make any system call")
if pod["serviceAccountName"] != objects["ServiceAccount"]["metadata"]["name"]:
    say("Deployment", f"there is no service account {pod['serviceAccountName']}")
scaler = objects["HorizontalPodAutoscaler"]["spec"]
if scaler["scaleTargetRef"]["name"] != deployment["metadata"]["name"] or scaler["minReplicas"] < 2:
    say("HorizontalPodAutoscaler", "two replicas of the deployment at least")
for metric in scaler["metrics"]:
    container = metric["containerResource"]["container"]
    if container != service["name"] or "cpu" not in service["resources"]["requests"]:
        say("HorizontalPodAutoscaler", f"{container} requests no CPU to be measured by")

collector = load("collector.yaml")
pipelines = collector["service"]["pipelines"].values()
for kind in ("receivers", "processors", "exporters"):
    used = {name for pipeline in pipelines for name in pipeline[kind]}
    if used != set(collector[kind]):
        say("collector.yaml", f"{kind}: {sorted(used)} are used, and {sorted(collector[kind])} configured")
endpoint = "http://" + collector["receivers"]["otlp"]["protocols"]["http"]["endpoint"]
if endpoint != environment["OTEL_EXPORTER_OTLP_ENDPOINT"]:
    say("collector.yaml", f"it listens at {endpoint}, and is sent to at {environment['OTEL_EXPORTER_OTLP_ENDPOINT']}")
