"""Jobs as FlinkDeployments: what is made, what kubectl is given, and how Flink is asked through it."""

from __future__ import annotations

import base64
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
import yaml

from swapstream.jobs.spec import JobSpec
from swapstream.models.errors import ClusterError, InvalidSettings
from swapstream.scripts.doctor import flink_findings
from swapstream.scripts.environment import CONF, Environment, Flink, load_environment
from swapstream.scripts.flink_cli import FlinkCommandLine
from swapstream.scripts.flink_rest import FlinkRest
from swapstream.scripts.job_operator import OPERATORS, JobOperator, job_operator
from swapstream.scripts.kubernetes import KubernetesJobs
from swapstream.scripts.manifest import Start, as_yaml, load_template, manifests

TEMPLATE = CONF / "container" / "flinkdeployment.yaml"
JOB, OTHER = "ab12" * 8, "cd34" * 8


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    return Environment(directory=str(tmp_path), flink=Flink(rest="kubernetes://flink", operator="kubernetes"))


@pytest.fixture
def jobs(environment: Environment) -> KubernetesJobs:
    return KubernetesJobs(environment)


def apply(jobs: KubernetesJobs, spec: JobSpec, tmp_path: Path, job_id: str = JOB, **how) -> None:
    spec.write(tmp_path / f"{job_id}.json")
    jobs.run(jobs.arguments("detect", tmp_path / f"{job_id}.json", spec.parallelism, job_id, **how))


def deployment(kubectl):
    [found] = kubectl.resources("flinkdeployment")
    return found


def valid(crd, resource) -> list[str]:
    return [error.message for error in crd.iter_errors({key: resource[key] for key in resource if key != "status"})]


@pytest.mark.parametrize("start", [Start(JOB), Start(JOB, "s3://b/savepoint-1", True, "s3://b/checkpoints")])
def test_what_is_made_is_what_the_operator_takes(spec, crd, start):
    told, made = manifests(load_template(TEMPLATE), spec, start)
    assert valid(crd, made) == []
    assert list(yaml.safe_load_all(as_yaml([told, made]))) == [told, made]
    assert (told["apiVersion"], told["kind"]) == ("v1", "ConfigMap")


def test_the_pods_find_the_specification(spec):
    told, made = manifests(load_template(TEMPLATE), spec, Start(JOB))
    pod = made["spec"]["podTemplate"]["spec"]
    [volume] = [each for each in pod["volumes"] if "configMap" in each]
    [mount] = [each for each in pod["containers"][0]["volumeMounts"] if each["name"] == volume["name"]]
    assert volume["configMap"]["name"] == told["metadata"]["name"]
    path = made["spec"]["job"]["args"][made["spec"]["job"]["args"].index("--spec") + 1]
    [file] = told["data"]
    assert path == f"{mount['mountPath']}/{file}"
    assert msgspec.json.decode(told["data"][file], type=JobSpec) == spec


def test_users_code_comes_with_the_specification(spec, crd, tmp_path):
    archive = tmp_path / "code-12.zip"
    archive.write_bytes(b"PK")
    told, made = manifests(load_template(TEMPLATE), spec, Start(JOB, code=(archive,)))
    assert valid(crd, made) == []
    assert base64.b64decode(told["binaryData"]["code-12.zip"]) == b"PK"
    assert made["spec"]["flinkConfiguration"]["python.files"] == "/etc/swapstream/code-12.zip"
    archive.write_bytes(bytes(800_000))
    with pytest.raises(InvalidSettings, match="a ConfigMap takes 700,000"):
        manifests(load_template(TEMPLATE), spec, Start(JOB, code=(archive,)))


def test_another_job_is_another_file(spec):
    made = manifests(load_template(TEMPLATE), msgspec.structs.replace(spec, job="rekey"), Start(JOB))[1]
    assert "/opt/swapstream/jobs/rekey.py" in made["spec"]["job"]["args"]
    same = manifests(load_template(TEMPLATE), spec, Start(JOB))[1]
    assert same["spec"]["job"]["args"] == load_template(TEMPLATE)["spec"]["job"]["args"]


def test_an_upgrade_takes_a_savepoint_and_state_is_kept_somewhere(spec):
    made = manifests(load_template(TEMPLATE), spec, Start(JOB))[1]["spec"]
    assert made["job"]["upgradeMode"] == "savepoint"
    assert made["flinkConfiguration"]["execution.checkpointing.savepoint-dir"]
    assert made["flinkConfiguration"]["execution.checkpointing.externalized-checkpoint-retention"] == "RETAIN_ON_CANCELLATION"
    assert "--add-opens" in made["flinkConfiguration"]["env.java.opts.all"]
    assert all(isinstance(value, str) for value in made["flinkConfiguration"].values())
    assert not any("address" in key or "bind" in key for key in made["flinkConfiguration"])


def test_another_state_to_begin_from_is_a_new_nonce(spec):
    first, second = (manifests(load_template(TEMPLATE), spec, Start(job, "s3://b/s"))[1]["spec"]["job"] for job in (JOB, OTHER))
    assert first["initialSavepointPath"] == "s3://b/s"
    assert first["savepointRedeployNonce"] != second["savepointRedeployNonce"]
    assert "savepointRedeployNonce" not in manifests(load_template(TEMPLATE), spec, Start(JOB))[1]["spec"]["job"]


def test_green_has_a_resource_of_its_own_and_a_savepoint_upgrade_has_not(spec):
    def name(**changes):
        return manifests(load_template(TEMPLATE), msgspec.structs.replace(spec, **changes), Start(JOB))[1]["metadata"]["name"]

    assert name() == name(generation=3) == "prod-pumps"
    assert name(generation=4, line=4) == "prod-pumps-4"


@pytest.mark.parametrize("called", ["Pumps", "pumps_1", "p" * 60])
def test_a_name_that_kubernetes_does_not_take_is_refused(spec, called):
    with pytest.raises(InvalidSettings, match="small letters, digits and -, a letter first, 45 at most"):
        manifests(load_template(TEMPLATE), msgspec.structs.replace(spec, deployment=called), Start(JOB))


def test_a_template_that_lacks_something_is_refused_naming_it(spec, tmp_path):
    lacking = load_template(TEMPLATE)
    lacking["spec"]["podTemplate"]["spec"]["volumes"] = []
    with pytest.raises(InvalidSettings, match="has no volume 'specification'"):
        manifests(lacking, spec, Start(JOB))
    del lacking["spec"]["podTemplate"]
    with pytest.raises(InvalidSettings, match="has no 'podTemplate'"):
        manifests(lacking, spec, Start(JOB))
    (tmp_path / "m.yaml").write_text("kind: Deployment\n")
    with pytest.raises(InvalidSettings, match="`kind` is 'Deployment'; it must be FlinkDeployment"):
        load_template(tmp_path / "m.yaml")


def test_applying_gives_kubectl_valid_manifests_in_the_namespace(jobs, spec, kubectl, crd, tmp_path):
    apply(jobs, spec, tmp_path)
    assert kubectl.calls == [["--namespace", "flink", "apply", "-f", "-"]]
    made = deployment(kubectl)
    assert valid(crd, made) == []
    assert (made["metadata"]["name"], made["spec"]["job"]["parallelism"]) == ("prod-pumps", 3)
    assert len(kubectl.resources("configmap")) == 1


def test_a_job_that_is_to_wait_for_its_state_is_applied_when_there_is_one(jobs, spec, kubectl, tmp_path):
    spec.write(tmp_path / "s.json")
    client = jobs.start(jobs.arguments("detect", tmp_path / "s.json", 3, JOB, tmp_path / "where", leave_sinks=True))
    ready = tmp_path / "where.ready"
    while not ready.exists():
        assert not client.check()
        time.sleep(0.05)
    assert kubectl.calls == []
    (tmp_path / "written").write_text("s3://b/savepoint-9\n")
    (tmp_path / "written").replace(tmp_path / "where")
    client.wait()
    job = deployment(kubectl)["spec"]["job"]
    assert (job["initialSavepointPath"], job["allowNonRestoredState"]) == ("s3://b/savepoint-9", True)


def test_a_start_that_waits_and_is_left_behind_is_ended_by_its_job(jobs, spec, kubectl, tmp_path):
    spec.write(tmp_path / "s.json")
    client = jobs.start(jobs.arguments("detect", tmp_path / "s.json", 3, JOB, tmp_path / "never"))
    subprocess.run([sys.executable, "-c", f"from swapstream.scripts.flink_cli import end_clients; end_clients('{JOB}')"], check=True)
    with pytest.raises(ClusterError, match="applying the job failed"):
        client.wait()
    assert kubectl.calls == []


def test_what_kubectl_refuses_is_told_in_its_words(jobs, spec, kubectl, tmp_path):
    kubectl.fail('error: admission webhook "validationwebhook" denied the request: Flink Version must be defined.')
    with pytest.raises(ClusterError, match=r"applying the job failed: .*Flink Version must be defined\."):
        apply(jobs, spec, tmp_path)
    with pytest.raises(ClusterError, match=r"kubectl get in namespace flink: .*Flink Version must be defined\."):
        jobs.states()


def test_without_kubectl_it_is_said_how_to_do_without(jobs, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ClusterError, match=r"kubectl is not on PATH: install it, or print .* with `swapstream submit --manifest`"):
        jobs.states()


def test_states_are_those_of_the_jobs_that_are_meant_to_run(jobs, spec, kubectl, tmp_path):
    apply(jobs, spec, tmp_path)
    assert jobs.states() == {JOB: "RUNNING"}
    assert jobs.state(OTHER) is None
    apply(jobs, spec, tmp_path, OTHER, restore="s3://b/s")
    assert jobs.states() == {OTHER: "RUNNING"}
    kubectl.status("prod-pumps", lifecycleState="UPGRADING", jobStatus={"jobId": JOB, "state": "FINISHED"})
    assert jobs.states() == {OTHER: "INITIALIZING"}
    kubectl.status("prod-pumps", lifecycleState="FAILED", error="no such image", jobStatus={})
    assert jobs.states() == {OTHER: "FAILED"}
    with pytest.raises(ClusterError, match=f"job {OTHER} is FAILED: no such image"):
        jobs.is_running(OTHER)
    with pytest.raises(ClusterError, match=f"job {JOB} is gone"):
        jobs.is_running(JOB)


def test_a_job_runs_when_all_its_tasks_do(jobs, spec, kubectl, tmp_path):
    apply(jobs, spec, tmp_path)
    kubectl.answer(f"/jobs/{JOB}", {"vertices": [{"status": "RUNNING"}, {"status": "INITIALIZING"}]})
    assert not jobs.is_running(JOB)
    kubectl.answer(f"/jobs/{JOB}", {"vertices": [{"status": "RUNNING"}]})
    assert jobs.is_running(JOB)
    assert kubectl.calls[-1][-1] == f"/api/v1/namespaces/flink/services/prod-pumps-rest:rest/proxy/jobs/{JOB}"


def test_cancelling_deletes_the_deployment_and_all_it_was_told_and_nothing_else(jobs, spec, kubectl, tmp_path):
    apply(jobs, spec, tmp_path)
    apply(jobs, spec, tmp_path, JOB[::-1])
    apply(jobs, msgspec.structs.replace(spec, deployment="others"), tmp_path, OTHER)
    jobs.cancel("00" * 16)
    jobs.cancel(JOB[::-1])
    assert jobs.states() == {OTHER: "RUNNING"}
    assert len(kubectl.resources("configmap")) == 1


def test_flink_is_asked_through_kubectl_by_whoever_asks(environment, jobs, spec, kubectl, tmp_path):
    rest = FlinkRest(environment.flink.url)
    assert rest.jobs() == []
    apply(jobs, spec, tmp_path)
    assert rest.overview()["slots-available"] >= 128
    [job] = rest.jobs()
    assert (job["jid"], job["name"], job["state"]) == (JOB, "prod.pumps", "RUNNING")
    kubectl.answer(f"/jobs/{JOB}/stop", {"request-id": "r1"})
    kubectl.answer(f"/jobs/{JOB}/savepoints/r1", {"status": {"id": "COMPLETED"}, "operation": {"location": "s3://b/s"}})
    assert rest.stop(JOB) == "r1"
    assert kubectl.calls[-1][2:4] == ["create", "--raw"]
    assert rest.savepoint(JOB, "r1")["operation"]["location"] == "s3://b/s"
    kubectl.answer("/config", {"flink-version": "2.3.0"})
    assert rest.version() == "2.3.0"
    with pytest.raises(ClusterError, match=f"no FlinkDeployment of job {OTHER} in namespace flink"):
        rest.job(OTHER)


def test_a_bundle_is_refused(jobs, tmp_path):
    with pytest.raises(InvalidSettings, match="--bundle is for a Flink that runs already"):
        jobs.arguments("detect", tmp_path / "s", 1, JOB, bundle=tmp_path)


def test_the_line_can_be_typed(jobs, spec, kubectl, tmp_path):
    spec.write(tmp_path / "s.json")
    line = jobs.shell_line(jobs.arguments("detect", tmp_path / "s.json", 3, JOB))
    subprocess.run(["sh", "-c", line], check=True)
    assert jobs.states() == {JOB: "RUNNING"}


def test_the_doctor_asks_kubectl_and_the_jobs_there_are(environment, jobs, spec, kubectl, tmp_path):
    [finding] = flink_findings(environment)
    assert (finding.state, finding.says) == ("ok", "kubectl answers; no job of Swapstream is at kubernetes://flink")
    apply(jobs, spec, tmp_path)
    kubectl.answer("/config", {"flink-version": "2.2.0"})
    kubectl.answer("/jobmanager/config", [])
    assert [finding.state for finding in flink_findings(environment)] == ["wrong", "wrong"]


def test_the_environment_names_the_operator(tmp_path, environment):
    assert isinstance(job_operator(environment), KubernetesJobs)
    assert isinstance(job_operator(Environment()), FlinkCommandLine)
    for flink in ("{operator: kubernetes}", "{rest: 'kubernetes://flink'}", "{operator: kubernetes, rest: 'http://a:1'}"):
        (tmp_path / "e.yaml").write_text(f"flink: {flink}\n")
        with pytest.raises(InvalidSettings, match="kubernetes wants kubernetes://NAMESPACE"):
            load_environment(str(tmp_path / "e.yaml"))


@pytest.mark.parametrize("operator", OPERATORS.values())
def test_each_operator_has_all_of_the_interface(operator):
    for name in (name for name in vars(JobOperator) if not name.startswith("_")):
        assert callable(getattr(operator, name)), name
