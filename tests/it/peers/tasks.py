"""Checks what a task definition says of itself: that its parts fit one another, and Fargate."""

import json

# CPU units, and the MiB of memory that go with them.
SIZES = {
    256: [512, 1024, 2048],
    512: range(1024, 4097, 1024),
    1024: range(2048, 8193, 1024),
    2048: range(4096, 16385, 1024),
}
LONGEST_STOP = 120
CONDITIONS = {"START", "COMPLETE", "SUCCESS", "HEALTHY"}


def check(task):
    containers = task["containerDefinitions"]
    names = [container["name"] for container in containers]
    volumes = {volume["name"] for volume in task.get("volumes", [])}
    if task["networkMode"] != "awsvpc" or task["requiresCompatibilities"] != ["FARGATE"]:
        yield "task: Fargate wants the network mode awsvpc"
    if int(task["memory"]) not in SIZES.get(int(task["cpu"]), []):
        yield f"task: Fargate has no {task['cpu']} units of CPU with {task['memory']} MiB"
    if sum(container.get("memory", container.get("memoryReservation", 0)) for container in containers) > int(task["memory"]):
        yield "task: its containers have more memory than it has"
    if len(names) != len(set(names)):
        yield f"task: a name is there twice: {names}"
    ports = [port["containerPort"] for container in containers for port in container.get("portMappings", [])]
    if ports != [4567]:
        yield f"task: only the service's port is open, not {ports}"
    for container in containers:
        for mistake in check_container(container, names, volumes):
            yield f"{container['name']}: {mistake}"


def check_container(container, names, volumes):
    if not container.get("readonlyRootFilesystem"):
        yield "its root file system can be written"
    if container.get("linuxParameters", {}).get("capabilities") != {"drop": ["ALL"]}:
        yield "it has capabilities"
    tag = container["image"].rpartition(":")[2]
    if "/" in tag or tag in ("latest", container["image"]):
        yield f"its image is not pinned: {container['image']}"
    environment = {pair["name"]: pair["value"] for pair in container.get("environment", [])}
    secrets = {secret["name"]: secret["valueFrom"] for secret in container.get("secrets", [])}
    if len(environment) != len(container.get("environment", [])) or set(environment) & set(secrets):
        yield "a variable is there twice"
    for name in environment:
        if any(word in name for word in ("KEY", "TOKEN", "SECRET", "PASSWORD")):
            yield f"{name} should come from a secret"
    for name, place in secrets.items():
        if not place.startswith("/cruddur/"):
            yield f"{name} is not where the execution role may read"
    for point in container.get("mountPoints", []):
        if point["sourceVolume"] not in volumes:
            yield f"there is no volume {point['sourceVolume']}"
    for needed in container.get("dependsOn", []):
        if needed["containerName"] not in names or needed["condition"] not in CONDITIONS:
            yield f"it cannot wait for {needed}"
    grace = int(environment.get("SHUTDOWN_GRACE", "0s").removesuffix("s"))
    if not grace < container["stopTimeout"] <= LONGEST_STOP:
        yield f"it is stopped after {container['stopTimeout']} s, and wants more than {grace} s"
    health = container.get("healthCheck")
    if container["essential"] and (not health or health["command"][0] != "CMD"):
        yield "its health is not checked without a shell"
    if health and not (5 <= health["interval"] <= 300 and 2 <= health["timeout"] <= 60 and 1 <= health["retries"] <= 10):
        yield f"not a health check: {health}"
    options = container["logConfiguration"]["options"]
    if not {"awslogs-group", "awslogs-region", "awslogs-stream-prefix"} <= set(options):
        yield f"Fargate wants more options for awslogs than {sorted(options)}"
    if "xray-daemon" in container["image"]:
        command = container["command"]
        said = dict(zip(command, command[1:]))
        for option in ("--bind", "--bind-tcp"):
            if said.get(option) != "127.0.0.1:2000":
                yield f"{option}: the daemon's image listens on every address unless it is told not to"
    if "COLLECTOR_CONFIG" in environment:
        yield from check_collector(json.loads(environment["COLLECTOR_CONFIG"]), secrets)


def check_collector(config, secrets):
    parts = {"receivers": set(), "processors": set(), "exporters": set()}
    for pipeline in config["service"]["pipelines"].values():
        for kind, used in parts.items():
            used |= set(pipeline[kind])
        if pipeline["processors"][:1] != ["memory_limiter"]:
            yield "the memory limiter comes first"
    for kind, used in parts.items():
        if used != set(config[kind]):
            yield f"{kind}: {sorted(used)} are used, and {sorted(config[kind])} configured"
    for exporter in config["exporters"].values():
        if exporter["headers"]["x-honeycomb-team"] != "${env:HONEYCOMB_API_KEY}" or "HONEYCOMB_API_KEY" not in secrets:
            yield "the key comes from the environment"
    endpoint = config["receivers"]["otlp"]["protocols"]["http"]["endpoint"]
    if endpoint != "127.0.0.1:4318":
        yield f"the collector listens on {endpoint}, and the service sends to 127.0.0.1:4318"
