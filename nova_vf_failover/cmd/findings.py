#    Licensed under the Apache License, Version 2.0 (the "License"); you may
#    not use this file except in compliance with the License. You may obtain
#    a copy of the License at
#
#         http://www.apache.org/licenses/LICENSE-2.0
#
#    Unless required by applicable law or agreed to in writing, software
#    distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
#    WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
#    License for the specific language governing permissions and limitations
#    under the License.

"""What a check has found: fine, doubtful or broken, and the cure."""

from oslo_upgradecheck import upgradecheck

Code = upgradecheck.Code

# A finding with what it is about, as oslo.upgradecheck has its checks.
Finding = tuple[str, upgradecheck.Result]


def good(subject: str, text: str) -> Finding:
    """Nothing to be done."""
    return subject, upgradecheck.Result(Code.SUCCESS, text)


def doubtful(subject: str, text: str, cure: str) -> Finding:
    """Some server will not be swapped or miss something, or nobody knows.
    """
    return subject, upgradecheck.Result(Code.WARNING, f'{text} {cure}')


def broken(subject: str, text: str, cure: str = '') -> Finding:
    """With this, nothing works on the host.

    :param cure: may be empty where the text ends with it
    """
    return subject, upgradecheck.Result(
        Code.FAILURE, f'{text} {cure}'.rstrip())


def sentence(clause: str) -> str:
    """What is said of something, standing alone."""
    return clause[:1].upper() + clause[1:]
